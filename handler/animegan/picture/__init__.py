"""Pictures in and out: files, pixels, sizes, colour, and the way to the device and back."""
