"""The parts of a report: each takes the run's files and the words of a language, and gives a section or nothing."""
