def main(minutes: float) -> int:
    raise NotImplementedError
