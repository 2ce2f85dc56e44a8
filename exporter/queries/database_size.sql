-- Bytes on disk of the whole database; asks the file system once a file.
select pg_database_size(current_database()) as mlflow_db_size_bytes
