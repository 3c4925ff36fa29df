"""The packed data set of a finished run: Parquet files, splits, the data card and croissant.json; its export and publication."""
