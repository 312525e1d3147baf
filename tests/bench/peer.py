"""The peer of predictions: the same model behind FastAPI, checked by pydantic, authenticated. Run by uvicorn; see servers.py."""

import os
import secrets
from typing import Annotated

import numpy
import xgboost
from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, Field

TOKEN = "Bearer " + os.environ["BENCH_TOKEN"]
COLUMNS = os.environ["BENCH_COLUMNS"].split(",")

booster = xgboost.Booster({"nthread": 1})
booster.load_model(os.environ["BENCH_MODEL"])
booster.set_param({"nthread": 1})
app = FastAPI()


class Tensor(BaseModel):
    name: str = Field(max_length=250)
    datatype: str = Field(pattern="^FP(32|64)$")
    shape: list[int] = Field(min_length=1, max_length=2)
    data: list[float]


class Request(BaseModel):
    id: str | None = None
    inputs: list[Tensor] = Field(min_length=1)


class Output(BaseModel):
    name: str
    datatype: str
    shape: list[int]
    data: list[float]


class Answer(BaseModel):
    model_name: str
    model_version: str
    id: str
    outputs: list[Output]


def authenticated(authorization: Annotated[str, Header()] = ""):
    if not secrets.compare_digest(authorization, TOKEN):
        raise HTTPException(401)


@app.post("/v2/models/{name}/infer", dependencies=[Depends(authenticated)])
async def infer(name: str, request: Request) -> Answer:
    columns = {tensor.name: tensor.data for tensor in request.inputs}
    if sorted(columns) != sorted(COLUMNS):
        raise HTTPException(400, "other columns than the model's")
    values = numpy.array([columns[name] for name in COLUMNS], dtype=numpy.float32).T
    found = booster.inplace_predict(values)
    output = Output(name="probability", datatype="FP32", shape=[len(found)], data=found.tolist())
    return Answer(model_name=name, model_version="1", id=request.id or secrets.token_hex(10), outputs=[output])
