//! A configuration's JSON Schema as lines for people: a line for each field, also of tables in
//! tables, with its type or its values.
//!
//! ```text
//!   batch_size (uint, required): The most rows in a batch.
//!   augment (table, optional): Changes to each picture.
//!   augment.shift (uint, default 1): The most pixels to each side.
//!   boxes[].label ("car" or "bus", required): What is in it.
//! ```

use serde_json::Value as Json;

/// The most tables in each other that are shown. A schema may refer to itself.
const MAX_DEPTH: usize = 6;

/// The lines for all fields of the configuration.
pub(crate) fn lines(schema: &Json) -> Vec<String> {
    let mut lines = Vec::new();
    Schema { root: schema }.fields(schema, "", MAX_DEPTH, &mut lines);
    if lines.is_empty() {
        let any = schema.get("properties").and_then(Json::as_object).is_none();
        lines.push(if any { "  any dictionary" } else { "  no fields" }.to_owned());
    }
    lines
}

/// The whole schema, in which parts refer to each other.
#[derive(Clone, Copy)]
struct Schema<'a> {
    root: &'a Json,
}

impl<'a> Schema<'a> {
    /// Adds a line for each field of a table, and for the fields of tables in it.
    fn fields(self, table: &'a Json, prefix: &str, depth: usize, lines: &mut Vec<String>) {
        if depth == 0 {
            return;
        }
        let table = self.resolved(table);
        let required = list(table, "required");
        for (name, field) in table.get("properties").and_then(Json::as_object).into_iter().flatten() {
            let place = format!("{prefix}{name}");
            let need = match field.get("default") {
                Some(default) => format!("default {default}"),
                None if required.contains(&Json::from(name.as_str())) => "required".to_owned(),
                None => "optional".to_owned(),
            };
            let described =
                [field, self.resolved(field)].into_iter().find_map(|one| text(one, "description"));
            let description = described.unwrap_or_default().replace('\n', " ");
            let line = format!("  {place} ({}, {need}): {description}", self.type_name(field, depth));
            // The forms of an enum may share fields, such as its tag.
            let head = format!("  {place} (");
            if !lines.iter().any(|other: &String| other.starts_with(&head)) {
                lines.push(line.trim_end_matches([':', ' ']).to_owned());
            }
            self.inside(field, &place, depth - 1, lines);
        }
        for form in self.forms(table) {
            self.fields(form, prefix, depth - 1, lines);
        }
    }

    /// Adds lines for the tables that a field holds: itself, its items, or its values.
    fn inside(self, field: &'a Json, place: &str, depth: usize, lines: &mut Vec<String>) {
        let field = self.resolved(field);
        self.fields(field, &format!("{place}."), depth, lines);
        if let Some(items) = field.get("items") {
            self.fields(items, &format!("{place}[]."), depth, lines);
        }
        if let Some(values) = field.get("additionalProperties").filter(|values| values.is_object()) {
            self.fields(values, &format!("{place}.*."), depth, lines);
        }
    }

    /// A type in a word or two, or the values of an enum.
    fn type_name(self, field: &'a Json, depth: usize) -> String {
        let field = self.resolved(field);
        if let Some(value) = field.get("const") {
            return value.to_string();
        }
        let values = list(field, "enum");
        if !values.is_empty() {
            return either(values.iter().map(Json::to_string));
        }
        let forms = self.forms(field);
        if !forms.is_empty() && depth > 0 {
            return either(forms.iter().map(|form| self.type_name(form, depth - 1)));
        }
        match (text(field, "format"), field.get("type")) {
            (Some(format), _) => format.to_owned(),
            (None, Some(Json::String(name))) => self.named(name, field, depth),
            (None, Some(Json::Array(names))) => {
                let present = names.iter().filter_map(Json::as_str).filter(|&name| name != "null");
                either(present.map(|name| self.named(name, field, depth)))
            }
            _ => "anything".to_owned(),
        }
    }

    fn named(self, name: &str, field: &'a Json, depth: usize) -> String {
        match (name, field.get("items")) {
            ("array", Some(items)) if depth > 0 => format!("list of {}", self.type_name(items, depth - 1)),
            ("array", _) => "list".to_owned(),
            ("object", _) => "table".to_owned(),
            ("string", _) => "text".to_owned(),
            (other, _) => other.to_owned(),
        }
    }

    /// The forms that a value may have, without the one of an absent value.
    fn forms(self, field: &'a Json) -> Vec<&'a Json> {
        let forms = ["oneOf", "anyOf"].iter().find_map(|key| field.get(key)?.as_array());
        let present = |form: &&Json| text(form, "type") != Some("null");
        forms.into_iter().flatten().filter(present).collect()
    }

    /// The part that a reference means.
    fn resolved(self, part: &'a Json) -> &'a Json {
        let reference = text(part, "$ref").and_then(|path| self.root.pointer(path.strip_prefix('#')?));
        reference.unwrap_or(part)
    }
}

fn text<'a>(part: &'a Json, key: &str) -> Option<&'a str> {
    part.get(key).and_then(Json::as_str)
}

fn list<'a>(part: &'a Json, key: &str) -> &'a [Json] {
    part.get(key).and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

/// The names with `or` between them, each once.
fn either(names: impl Iterator<Item = String>) -> String {
    let mut each: Vec<String> = Vec::new();
    names.for_each(|name| {
        if !each.contains(&name) {
            each.push(name);
        }
    });
    each.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tables_in_tables_and_the_values_of_enums_are_shown() {
        let schema = json!({
            "properties": {
                "size": { "type": "integer", "format": "uint", "description": "The\nside." },
                "on_corrupt": { "description": "What to do.", "$ref": "#/$defs/OnCorrupt", "default": "error" },
                "augment": { "anyOf": [{ "$ref": "#/$defs/Augment" }, { "type": "null" }] },
                "boxes": { "type": "array", "items": { "$ref": "#/$defs/Box" } },
                "shape": { "type": "array", "items": { "type": "integer", "format": "uint" } },
                "by_name": { "type": "object", "additionalProperties": { "$ref": "#/$defs/Box" } },
                "free": true,
            },
            "required": ["size", "boxes"],
            "$defs": {
                "OnCorrupt": { "oneOf": [{ "const": "error", "type": "string" }, { "const": "skip" }] },
                "Augment": { "type": "object", "properties": {
                    "shift": { "type": "integer", "format": "uint", "default": 1 },
                    "next": { "anyOf": [{ "$ref": "#/$defs/Augment" }, { "type": "null" }] },
                } },
                "Box": { "type": "object", "properties": { "label": { "enum": ["car", "bus"] } },
                    "required": ["label"] },
            },
        });
        let lines = lines(&schema);
        for line in [
            "  size (uint, required): The side.",
            "  on_corrupt (\"error\" or \"skip\", default \"error\"): What to do.",
            "  augment (table, optional)",
            "  augment.shift (uint, default 1)",
            "  augment.next.shift (uint, default 1)",
            "  boxes (list of table, required)",
            "  boxes[].label (\"car\" or \"bus\", required)",
            "  shape (list of uint, optional)",
            "  by_name.*.label (\"car\" or \"bus\", required)",
            "  free (anything, optional)",
        ] {
            assert!(lines.iter().any(|other| other == line), "{line} in {lines:#?}");
        }
        assert!(lines.len() < 30, "{lines:#?}");
    }

    #[test]
    fn configuration_without_fields_is_described() {
        assert_eq!(lines(&json!({})), ["  any dictionary"]);
        assert_eq!(lines(&json!({ "type": "object" })), ["  any dictionary"]);
        assert_eq!(lines(&json!({ "properties": {} })), ["  no fields"]);
    }
}
