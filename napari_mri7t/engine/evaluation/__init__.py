"""Scores, baselines, statistics, tables, figures and the report: how good an estimate is."""
