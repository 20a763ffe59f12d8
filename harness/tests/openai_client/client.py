"""Drives the scripted OpenAI at argv[1] with the official client, unchanged.

Creates are counted by the script from 1 on; what goes wrong with which is in openai_client.rs.
Exits with a traceback at the first difference from what the real API does.
"""

import sys
import time

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="sk-test", max_retries=0)
request = {"model": "gpt-5", "input": "Write a section."}


def ended(response, statuses=("queued", "in_progress")):
    """Polls as the guide for background mode does, while the response is in one of these statuses."""
    deadline = time.monotonic() + 30
    while response.status in statuses:
        assert time.monotonic() < deadline, f"still {response.status} after 30 s"
        time.sleep(0.02)
        response = client.responses.retrieve(response.id)
    return response


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


# 1: in the background.
response = client.responses.create(**request, background=True)
assert response.id.startswith("resp_"), response.id
assert response.status == "queued", response.status
response = ended(response)
assert response.status == "completed", response.status
assert response.output_text.startswith("#"), response.output_text[:80]
assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 0
first = response

# The same response as a stream, from an event on.
events = list(client.responses.retrieve(first.id, stream=True, starting_after=1))
assert [event.sequence_number for event in events] == list(range(2, 2 + len(events)))
assert events[-1].type == "response.completed", events[-1].type
text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
assert text and first.output_text.endswith(text), text[:80]

# 2: at work without end, so that no poll comes too late to see it; cancelled, and once more, which changes nothing.
response = ended(client.responses.create(**request, background=True), statuses=("queued",))
assert response.status == "in_progress", response.status
for _ in range(2):
    response = client.responses.cancel(response.id)
    assert response.status == "cancelled", response.status

# 3: blocking.
response = client.responses.create(**request)
assert response.status == "completed" and response.output_text, response.status

# 4: too many requests.
error = raises(openai.RateLimitError, lambda: client.responses.create(**request, background=True))
assert error.status_code == 429 and error.code == "rate_limit_exceeded", (error.status_code, error.code)
assert float(error.response.headers["retry-after-ms"]) > 0
assert error.response.headers["x-ratelimit-remaining-requests"] == "0"

# 5: a fault of the server.
error = raises(openai.InternalServerError, lambda: client.responses.create(**request, background=True))
assert error.status_code == 503, error.status_code

# 6, 7: the client's own retry waits as it is told and succeeds.
response = client.with_options(max_retries=1).responses.create(**request, background=True)
assert response.status == "queued", response.status

# 8: lost after it was made.
response = client.responses.create(**request, background=True)
error = raises(openai.NotFoundError, lambda: client.responses.retrieve(response.id))
assert error.type == "invalid_request_error", error.type

# 9: ends failed; 10: ends incomplete.
response = ended(client.responses.create(**request, background=True))
assert response.status == "failed" and response.error.code == "server_error", response.error
response = ended(client.responses.create(**request, background=True))
assert response.status == "incomplete", response.status
assert response.incomplete_details.reason == "max_output_tokens", response.incomplete_details

# 11: half a document.
raises(Exception, lambda: client.responses.create(**request, background=True))

# 12: chat completions.
chat = client.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": "Write."}])
assert chat.choices[0].message.content and chat.choices[0].finish_reason == "stop", chat

# What the client itself sent wrong.
raises(openai.NotFoundError, lambda: client.responses.retrieve("resp_unknown"))
raises(openai.NotFoundError, lambda: client.responses.cancel("resp_unknown"))
too_much = {str(number): "x" for number in range(17)}
error = raises(openai.BadRequestError, lambda: client.responses.create(**request, metadata=too_much))
assert error.param == "metadata", error.param
stranger = client.with_options(default_headers={"Authorization": "nothing"})
raises(openai.AuthenticationError, lambda: stranger.responses.create(**request))

print(openai.__version__)
