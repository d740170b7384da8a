"""What the checks of the Python sides have in common: how they are written, run and reported."""

import asyncio
import traceback

import grpc

# Nothing here takes long; what hangs is a failure.
LIMIT_S = 120


def same(got, want, what=""):
    if got != want:
        got, want = (short(value) for value in (got, want))
        raise AssertionError(f"{what}: got {got}, want {want}")


def short(value):
    text = repr(value)
    return text if len(text) < 200 else f"{text[:200]}… ({len(text)} characters)"


async def fails(awaitable):
    try:
        await awaitable
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the call succeeded")


async def collect(call):
    return [reply async for reply in call]


async def run(checks, *arguments):
    """Runs each check with the arguments, prints a line for it, and returns whether the process should fail."""
    failed = passed = 0
    for check in checks:
        name = check.__name__
        try:
            await asyncio.wait_for(check(*arguments), LIMIT_S)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001: every failure is reported
            failed += 1
            where = traceback.extract_tb(error.__traceback__)[-1].lineno
            print(f"FAILED {name}: {type(error).__name__} {str(error)[:1000]} (line {where})", flush=True)
        else:
            passed += 1
            print(f"ok {name}", flush=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    return failed > 0 or passed == 0
