"""What captioners are asked, what becomes of their texts, and captioners that start from a caption instead of an image."""
