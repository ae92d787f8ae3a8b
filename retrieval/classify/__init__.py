"""Objects sorted into classes."""
