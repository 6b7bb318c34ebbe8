"""`python -m mmssl_cli` is `mmssl`."""

from mmssl_cli.app import main

if __name__ == "__main__":
    main()
