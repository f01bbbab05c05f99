"""AnimeGANv2's generator."""
