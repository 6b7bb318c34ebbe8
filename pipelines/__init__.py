"""Raw files -> one prepared data set: a folder of parquet and npz."""
