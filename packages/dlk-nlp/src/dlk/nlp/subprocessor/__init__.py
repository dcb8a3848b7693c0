"""Steps that prepare text and its annotations."""
