// Being written (unit tests helper).
