// For those who build their monitoring from mixins: the rules and dashboards of this repository as they are.
// Recording rules are in the groups of the alerts that read them, and an evaluation takes both in turn, so all is in
// prometheusAlerts.
{
  local rules = [
    importstr 'alerts/rules/availability.yml',
    importstr 'alerts/rules/connections.yml',
    importstr 'alerts/rules/database-configuration.yml',
    importstr 'alerts/rules/database-indexes.yml',
    importstr 'alerts/rules/database-size.yml',
    importstr 'alerts/rules/exporter.yml',
    importstr 'alerts/rules/logging-pattern.yml',
    importstr 'alerts/rules/network-latency.yml',
    importstr 'alerts/rules/open-files.yml',
    importstr 'alerts/rules/read-load.yml',
    importstr 'alerts/rules/server-resources.yml',
    importstr 'alerts/rules/sqlite-backend.yml',
  ],

  grafanaDashboards+:: {
    'causes.json': import 'dashboards/causes.json',
    'database.json': import 'dashboards/database.json',
    'exporter.json': import 'dashboards/exporter.json',
    'overview.json': import 'dashboards/overview.json',
    'probes.json': import 'dashboards/probes.json',
    'queries.json': import 'dashboards/queries.json',
    'server.json': import 'dashboards/server.json',
    'workload.json': import 'dashboards/workload.json',
  },

  prometheusAlerts+:: {
    groups+: std.flatMap(function(file) std.parseYaml(file).groups, rules),
  },
}
