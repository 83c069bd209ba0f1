"""`python -m nemd_toolkit`, the same as `nemd`."""

from nemd_toolkit.cli import main

if __name__ == "__main__":
    main()
