"""Work on whole data sets: convert, index, verify."""
