"""Grafana's dashboards as a program: `python -m monitoring.grafana` (`make dashboards`) writes dashboards/*.json.

A dashboard is sections of panels; a panel is a title, what it means and what to do, a unit and its queries.
`queries` says how the metrics are asked, `panels` how they look, `frame` what all dashboards have in common.
"""
