//! Wrong configurations and messages, made from good ones.

use cobuf_plugin_api::{Dictionary, Value};
use serde_json::Value as Json;

/// The name of a field that no plugin has.
pub(super) const STRANGER: &str = "no_such_field_of_cobuf_check";

/// A wrong dictionary, and what is wrong with it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mutation {
    /// Such as `"size" as text`.
    pub(super) what: String,
    /// The field that an error should name.
    pub(super) field: String,
    pub(super) dictionary: Dictionary,
}

/// Whether a configuration with this JSON Schema may have any fields.
pub(super) fn takes_any_field(schema: &Json) -> bool {
    match schema.get("additionalProperties") {
        Some(Json::Bool(any)) => *any,
        Some(other) => other.is_object(),
        None => false,
    }
}

/// Configurations with the right fields, one of which is missing or of a wrong type.
pub(super) fn of_config(good: &Dictionary, schema: &Json) -> Vec<Mutation> {
    let required = schema.get("required").and_then(Json::as_array).into_iter().flatten();
    let missing = required.filter_map(Json::as_str).map(|field| Mutation {
        what: format!("without {field:?}"),
        field: field.to_owned(),
        dictionary: without(good, field),
    });
    let fields = schema.get("properties").and_then(Json::as_object).into_iter().flatten();
    let wrong = fields.filter_map(|(field, described)| {
        let (name, value) = wrong_values().into_iter().find(|(_, value)| {
            json_type(value).is_some_and(|kind| !allows(described, kind, schema, MAX_REFERENCES))
        })?;
        Some(Mutation {
            what: format!("{field:?} as {name}"),
            field: field.clone(),
            dictionary: good.clone().with(field.clone(), value),
        })
    });
    missing.chain(wrong).collect()
}

/// Messages that no commander of this producer sends.
pub(super) fn of_message(good: Option<&Dictionary>) -> Vec<Mutation> {
    let mutation = |what: String, field: &str, dictionary: Dictionary| Mutation {
        what,
        field: field.to_owned(),
        dictionary,
    };
    let stranger = |message: &Dictionary| {
        mutation("with an unknown field".to_owned(), STRANGER, message.clone().with(STRANGER, 1))
    };
    let mut mutations = vec![mutation("{}".to_owned(), "", Dictionary::new()), stranger(&Dictionary::new())];
    let Some(good) = good else { return mutations };
    mutations.push(stranger(good));
    for (field, value) in good.iter() {
        mutations.push(mutation(format!("without {field:?}"), field, without(good, field)));
        let others = wrong_values().into_iter().filter(|(_, wrong)| json_type(wrong) != json_type(value));
        let extremes = match value {
            Value::Int(_) | Value::UInt(_) => {
                vec![("-1", Value::Int(-1)), ("the largest integer", Value::UInt(u64::MAX))]
            }
            Value::Float(_) => vec![("not a number", Value::Float(f64::NAN))],
            Value::String(_) => vec![("an empty text", Value::from(""))],
            Value::List(_) => {
                vec![("a list of wrong entries", Value::List(vec![Value::Null, Value::Int(-1)]))]
            }
            _ => Vec::new(),
        };
        for (name, wrong) in others.chain(extremes) {
            let what = format!("{field:?} as {name}");
            mutations.push(mutation(what, field, good.clone().with(field, wrong)));
        }
    }
    mutations
}

fn without(dictionary: &Dictionary, field: &str) -> Dictionary {
    let kept = dictionary.iter().filter(|(key, _)| *key != field);
    kept.fold(Dictionary::new(), |all, (key, value)| all.with(key, value.clone()))
}

/// A value of each type.
fn wrong_values() -> [(&'static str, Value); 5] {
    [
        ("text", Value::from("wrong")),
        ("a number", Value::Int(7)),
        ("a boolean", Value::Bool(true)),
        ("a list", Value::List(Vec::new())),
        ("a dictionary", Value::from(Dictionary::new().with(STRANGER, 1))),
    ]
}

/// The type of a value, by its name in JSON Schema.
fn json_type(value: &Value) -> Option<&'static str> {
    Some(match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Int(_) | Value::UInt(_) => "integer",
        Value::Float(_) => "number",
        Value::String(_) => "string",
        Value::Bytes(_) => return None,
        Value::List(_) => "array",
        Value::Dictionary(_) => "object",
    })
}

/// How many references are followed: a schema may refer to itself.
const MAX_REFERENCES: usize = 16;

/// Whether a JSON Schema may allow values of a type. It allows whatever it does not restrict.
fn allows(schema: &Json, kind: &str, root: &Json, references: usize) -> bool {
    let list = |name: &str| schema.get(name).and_then(Json::as_array);
    let one_of = |alternatives: Option<&Vec<Json>>| {
        alternatives.is_none_or(|all| all.iter().any(|one| allows(one, kind, root, references)))
    };
    let by_type = match schema.get("type") {
        Some(Json::String(name)) => is_type(kind, name),
        Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).any(|name| is_type(kind, name)),
        _ => true,
    };
    let by_values = |values: Option<&Vec<Json>>| {
        values.is_none_or(|values| values.iter().any(|value| is_type(kind, type_of_json(value))))
    };
    let by_constant = schema.get("const").is_none_or(|value| is_type(kind, type_of_json(value)));
    let referred = schema
        .get("$ref")
        .and_then(Json::as_str)
        .filter(|_| references > 0)
        .and_then(|path| root.pointer(path.strip_prefix('#')?));
    *schema != Json::Bool(false)
        && by_type
        && by_constant
        && by_values(list("enum"))
        && one_of(list("anyOf"))
        && one_of(list("oneOf"))
        && list("allOf").is_none_or(|all| all.iter().all(|one| allows(one, kind, root, references)))
        && referred.is_none_or(|schema| allows(schema, kind, root, references - 1))
}

fn is_type(kind: &str, name: &str) -> bool {
    kind == name || (kind == "integer" && name == "number")
}

fn type_of_json(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    #[test]
    fn wrong_types_are_those_that_the_schema_does_not_allow() {
        let schema = serde_json::json!({
            "type": "object",
            "properties": {
                "size": { "type": "integer" },
                "name": { "type": ["string", "null"] },
                "crop": { "anyOf": [{ "$ref": "#/$defs/Crop" }, { "type": "null" }] },
                "any": {},
            },
            "required": ["size"],
            "$defs": { "Crop": { "oneOf": [{ "enum": ["random"], "type": "string" }, { "type": "number" }] } },
        });
        let what: Vec<String> =
            of_config(&Dictionary::new().with("size", 1), &schema).into_iter().map(|one| one.what).collect();
        assert_eq!(
            what,
            ["without \"size\"", "\"crop\" as a boolean", "\"name\" as a number", "\"size\" as text"]
        );
    }

    #[test]
    fn every_field_of_a_message_is_made_wrong() {
        let good = Dictionary::new().with("index", 3);
        let what: Vec<String> = of_message(Some(&good)).into_iter().map(|one| one.what).collect();
        assert!(what.contains(&"without \"index\"".to_owned()), "{what:?}");
        assert!(what.contains(&"\"index\" as text".to_owned()), "{what:?}");
        assert!(!what.contains(&"\"index\" as a number".to_owned()), "{what:?}");
        assert!(of_message(None).iter().all(|one| one.dictionary.get("index").is_none()));
    }
}
