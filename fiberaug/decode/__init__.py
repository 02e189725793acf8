"""Image bytes in, pixels and annotations out; a closed table of decoders."""
