-- Checkpoints, and a replica's restart points, which this view has always counted together.
select checkpoints_timed as mlflow_db_checkpoints_timed_total,
       checkpoints_req as mlflow_db_checkpoints_requested_total,
       checkpoint_write_time / 1000 as mlflow_db_checkpoint_write_seconds_total,
       checkpoint_sync_time / 1000 as mlflow_db_checkpoint_sync_seconds_total,
       buffers_checkpoint as mlflow_db_checkpoint_buffers_written_total,
       buffers_clean as mlflow_db_background_writer_buffers_written_total
from pg_stat_bgwriter
