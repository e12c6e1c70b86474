"""A load generator for a Poseglass server: arrivals that wait for nobody, callers, streams; figures, tables, plots."""
