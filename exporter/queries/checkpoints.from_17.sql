-- Checkpoints, and a replica's restart points: their sum is what older versions count.
select c.num_timed + c.restartpoints_timed as mlflow_db_checkpoints_timed_total,
       c.num_requested + c.restartpoints_req as mlflow_db_checkpoints_requested_total,
       c.write_time / 1000 as mlflow_db_checkpoint_write_seconds_total,
       c.sync_time / 1000 as mlflow_db_checkpoint_sync_seconds_total,
       c.buffers_written as mlflow_db_checkpoint_buffers_written_total,
       b.buffers_clean as mlflow_db_background_writer_buffers_written_total
from pg_stat_checkpointer c, pg_stat_bgwriter b
