"""The read side: asks a table in the words, pictures or sounds of its own generation."""
