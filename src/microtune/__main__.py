"""`python -m microtune`."""

from microtune.cli.app import main

if __name__ == "__main__":
    main()
