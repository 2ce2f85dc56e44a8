-- What tells whether this session's process runs on the exporter's own machine, and where its
-- data are. The directory is shown to members of pg_read_all_settings (pg_monitor has it) alone.
select a.pid,
       extract(epoch from a.backend_start)::float8 as started,
       extract(epoch from pg_postmaster_start_time())::float8 as server_started,
       case when pg_has_role(current_user, 'pg_read_all_settings', 'usage')
            then current_setting('data_directory') end as data_directory
from pg_stat_activity a
where a.pid = pg_backend_pid()
