//! JSON schemas of what is not written as its fields are.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{
    Amount, ComputeCapability, DeviceId, GroupName, MigProfile, ModelName, NodeName, PlaceName, Priority, Rank,
    TeamName, UserName,
};

macro_rules! schemas {
    ($($type:ident: $schema:tt;)*) => { $(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )* };
}

schemas! {
    Amount: {"description": "An amount to a thousandth.", "type": "number", "minimum": 0};
    ComputeCapability: {"description": "Such as 8.6.", "type": "string", "pattern": r"^\d+\.\d+$"};
    Rank: {"description": "A finite number; a smaller one goes first.", "type": "number"};
    Priority: {
        "description": "How urgent a task is.",
        "enum": [
            "EXTREME_HIGH", "VERY_HIGH", "HIGH", "ABOVE_NORMAL", "NORMAL", "UNDER_NORMAL", "BELOW_NORMAL", "LOW", "AUTO"
        ]
    };
    UserName: {"description": "A user's name.", "type": "string", "minLength": 1, "maxLength": 253};
    TeamName: {"description": "A team's name.", "type": "string", "minLength": 1, "maxLength": 253};
    GroupName: {"description": "The name of a group of nodes.", "type": "string", "minLength": 1, "maxLength": 253};
    NodeName: {"description": "A node's name.", "type": "string", "minLength": 1, "maxLength": 253};
    PlaceName: {"description": "The name of a place in the network.", "type": "string", "minLength": 1, "maxLength": 253};
    DeviceId: {"description": "A device's UUID.", "type": "string", "minLength": 1, "maxLength": 253};
    ModelName: {"description": "A device's model.", "type": "string", "minLength": 1, "maxLength": 253};
    MigProfile: {"description": "The profile of a MIG slice, such as 1g.5gb.", "type": "string", "minLength": 1, "maxLength": 253};
}
