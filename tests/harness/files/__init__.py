"""Files of pictures and weights, whole and damaged, and where they are fetched from."""
