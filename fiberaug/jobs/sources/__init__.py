"""Sources of images for a conversion, one file a format."""
