"""Run the command line as `python -m userrep`."""

from userrep.cli import main

if __name__ == "__main__":
    main()
