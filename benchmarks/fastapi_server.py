"""What a Python server usually is: FastAPI, uvicorn and `transformers`, one sentence encoder.

`fastapi_server.py MODEL_FOLDER`; prints the port it listens on. Two ways of writing the same endpoint, because either
can be the faster one: `/threads` is a plain function (Starlette's thread pool), `/loop` runs on the event loop.
"""

import socket
import sys

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()

folder = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
app = FastAPI()


class Request(BaseModel):
    text: list[str]


def embed(request: Request) -> dict:
    with torch.inference_mode():
        batch = tokenizer(request.text, padding=True, return_tensors="pt")
        hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1)
        pooled = (hidden * mask).sum(1) / mask.sum(1)
        vectors = torch.nn.functional.normalize(pooled, dim=-1)
    return {"batch": [{"embedding": vector} for vector in vectors.tolist()]}


@app.post("/threads")
def on_threads(request: Request) -> dict:
    return embed(request)


@app.post("/loop")
async def on_the_loop(request: Request) -> dict:
    return embed(request)


if __name__ == "__main__":
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run([listener])
