"""The plan of a run, made before any model is loaded: captions files, captions phrased from drawn attribute values, the table of rows."""
