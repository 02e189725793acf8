"""A folder of photos in, a folder of augmented photos out, annotations along."""
