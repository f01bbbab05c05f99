"""`animegan stylize`: files and folders of photos to anime pictures, in this process or through a server."""
