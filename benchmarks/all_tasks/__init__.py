"""The parts of benchmarks/real_tasks.py: data sets, baselines, runs, the table."""
