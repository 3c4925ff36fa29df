"""The data set: text prompts to packed, labelled pictures of persons."""
