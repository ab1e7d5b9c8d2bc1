"""The text-image encoder that guides an edit, and where in the picture its text is."""
