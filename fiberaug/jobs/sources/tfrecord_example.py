"""``tf.train.Example``: the features of a record by name.

Source: tensorflow/core/example/example.proto and feature.proto.
"""

from functools import lru_cache
from typing import Any, TypeAlias

from fiberaug.decode.refusing import Refusing
from fiberaug.jobs.sources.tfrecord_file import the_extra

__all__ = ["Values", "parse_example"]

Values: TypeAlias = list[bytes] | list[int] | list[float]

_LISTS = (("BytesList", "bytes"), ("FloatList", "float"), ("Int64List", "int64"))


def parse_example(data: bytes) -> dict[str, Values]:
    """Return the values of each feature that has some.

    Raises:
        UsageError: protobuf is not installed.
        SampleBroken: The bytes are no ``tf.train.Example``.
    """
    message = _message()
    with Refusing("the record is no tf.train.Example"):
        features = message.FromString(data).features.feature
        found: dict[str, Values] = {}
        for name, feature in features.items():
            kind = feature.WhichOneof("kind")
            values = [*getattr(feature, kind).value] if kind else []
            if values:
                found[name] = values
        return found


@lru_cache(maxsize=1)
def _message() -> Any:  # noqa: ANN401  # protobuf makes the class
    """Return the class of messages, in a pool of its own: TensorFlow has it, too."""
    try:
        from google.protobuf import (  # type: ignore[import-untyped]  # noqa: PLC0415  # an extra
            descriptor_pb2,
            descriptor_pool,
            message_factory,
        )
    except ImportError:
        raise the_extra() from None
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="example.proto", package="tensorflow", syntax="proto3"
    )

    def field(message: Any, name: str, kind: str, number: int, **more: Any) -> None:  # noqa: ANN401  # protobuf's
        message.field.add(
            name=name, number=number, label=more.pop("label", kinds.LABEL_OPTIONAL),
            type=getattr(kinds, f"TYPE_{kind.upper()}"), **more,
        )  # fmt: skip

    feature = descriptor_pb2.DescriptorProto(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, kind) in enumerate(_LISTS, 1):
        one = file.message_type.add(name=name)
        field(one, "value", kind, 1, label=kinds.LABEL_REPEATED)
        field(
            feature, f"{kind}_list", "message", number,
            type_name=f".tensorflow.{name}", oneof_index=0,
        )  # fmt: skip
    file.message_type.append(feature)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    field(entry, "key", "string", 1)
    field(entry, "value", "message", 2, type_name=".tensorflow.Feature")
    field(
        features, "feature", "message", 1, label=kinds.LABEL_REPEATED,
        type_name=".tensorflow.Features.FeatureEntry",
    )  # fmt: skip
    example = file.message_type.add(name="Example")
    field(example, "features", "message", 1, type_name=".tensorflow.Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    described = pool.FindMessageTypeByName("tensorflow.Example")
    return message_factory.GetMessageClass(described)
