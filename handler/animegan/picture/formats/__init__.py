"""What each kind of picture file says of itself, read without a decoder, and what of it the decoder is given."""
