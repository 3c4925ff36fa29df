"""Other wordings of the captions of a training: sentences made from labels, captions with some phrases left out, wrong captions."""
