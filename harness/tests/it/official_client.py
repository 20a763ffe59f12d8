"""Drives the scripted OpenAI with the official client, unchanged. Prints `ok` at the end.

The address and the key come from OPENAI_BASE_URL and OPENAI_API_KEY, as in production.
"""

import time

import openai

client = openai.OpenAI(max_retries=0, timeout=30)
WRITE = {"model": "gpt-5", "input": "Write a section."}


def ended(response):
    deadline = time.monotonic() + 30
    while response.status in ("queued", "in_progress"):
        assert time.monotonic() < deadline, response.status
        time.sleep(0.02)
        response = client.responses.retrieve(response.id)
    return response


def refused(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


# Create 1: in the background, polled until it ends.
created = client.responses.create(background=True, **WRITE)
assert created.status == "queued" and created.background, created
done = ended(created)
assert done.status == "completed" and done.output_text, done
assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens

# Its stream, from the start and from where a client left off.
events = list(client.responses.retrieve(done.id, stream=True))
assert events[0].type == "response.created" and events[-1].type == "response.completed"
text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
assert text == done.output_text
rest = list(client.responses.retrieve(done.id, stream=True, starting_after=2))
assert [event.sequence_number for event in rest] == list(range(3, len(events)))

# Create 2: blocking.
blocking = client.responses.create(**WRITE)
assert blocking.status == "completed" and blocking.output_text

# Create 3: streaming.
streamed = list(client.responses.create(stream=True, **WRITE))
assert streamed[-1].response.status == "completed"

# Create 4 never ends, until it is cancelled.
endless = client.responses.create(background=True, **WRITE)
cancelled = client.responses.cancel(endless.id)
assert cancelled.status == "cancelled" and client.responses.retrieve(endless.id).status == "cancelled"

# Create 5: a rate limit, with the time to come back in the headers.
limited = refused(openai.RateLimitError, lambda: client.responses.create(**WRITE))
assert limited.status_code == 429 and limited.code == "rate_limit_exceeded", limited.body
assert limited.response.headers["retry-after"] == "2", limited.response.headers

# Create 6: a server error. Create 7: an incomplete response. Create 8: one that is lost.
assert refused(openai.InternalServerError, lambda: client.responses.create(**WRITE)).status_code == 503
incomplete = client.responses.create(**WRITE)
assert incomplete.status == "incomplete"
assert incomplete.incomplete_details.reason == "max_output_tokens"
lost = client.responses.create(background=True, **WRITE)
refused(openai.NotFoundError, lambda: client.responses.retrieve(lost.id))

refused(openai.NotFoundError, lambda: client.responses.retrieve("resp_unknown"))
refused(openai.BadRequestError, lambda: client.responses.create(input="no model"))
stranger = openai.OpenAI(api_key=" ", max_retries=0)
refused(openai.AuthenticationError, lambda: stranger.responses.create(**WRITE))

# The client's own retries obey `retry-after-ms`: create 10 is refused, 11 is let through.
patient = openai.OpenAI(max_retries=2, timeout=30)
assert patient.responses.create(**WRITE).status == "completed"

# Chat completions.
messages = [{"role": "user", "content": "Write a section."}]
chat = client.chat.completions.create(model="gpt-5", messages=messages)
assert chat.choices[0].finish_reason == "stop" and chat.choices[0].message.content
chunks = list(client.chat.completions.create(model="gpt-5", messages=messages, stream=True))
said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
assert said and chunks[-1].choices[0].finish_reason == "stop"

print("ok")
