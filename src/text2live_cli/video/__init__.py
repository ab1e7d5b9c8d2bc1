"""The edit of a clip (paper §3.2): trained on an atlas, judged in frames."""
