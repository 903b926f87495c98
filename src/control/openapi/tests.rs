use super::*;

#[test]
fn every_operation_is_described_where_it_answers() {
    let document = document();
    for described in OPERATIONS {
        let operation = &document["paths"][described.path()][described.verb().to_lowercase()];
        assert_eq!(operation["operationId"], described.name);
        assert!(operation["summary"].is_string(), "{}", described.name);
        let in_path = operation["parameters"].as_array().unwrap();
        let in_path = in_path.iter().filter(|parameter| parameter["in"] == "path");
        assert_eq!(in_path.count(), described.ids().count(), "{}", described.name);
        for status in described.done.iter().chain(&described.refusals()) {
            assert!(
                operation["responses"][status.to_string()].is_object(),
                "{} {status}",
                described.name
            );
        }
    }
    let described: usize = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|item| item.as_object().unwrap().len())
        .sum();
    let platforms = OPERATIONS.iter().filter(|described| described.is_platforms());
    assert_eq!(described, OPERATIONS.len() + platforms.count());
}

#[test]
fn what_a_field_may_be_is_said_with_its_bounds() {
    let document = document();
    let leg = &document["paths"]["/v1/legs"]["post"]["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(leg["required"], json!(["conferenceId"]));
    assert_eq!(leg["additionalProperties"], false);
    let properties = &leg["properties"];
    assert_eq!(properties["conferenceId"]["maxLength"], 64);
    assert_eq!(properties["gainDb"]["minimum"], -60.0);
    assert_eq!(
        properties["moh"]["enum"],
        json!(["ring", "music1", "music2", "music3", null])
    );
    assert_eq!(properties["maxDelayMs"]["type"], json!(["integer", "null"]));
    assert_eq!(properties["clear"], Value::Null);
    let schemas = &document["components"]["schemas"];
    assert_eq!(
        schemas["Leg"]["properties"]["codec"]["type"],
        json!(["string", "null"])
    );
    assert_eq!(
        schemas["Media"]["properties"]["dropped"]["additionalProperties"]["type"],
        "integer"
    );
}

#[test]
fn what_is_not_said_is_left_out() {
    fn nulls(value: &Value, at: &str, found: &mut Vec<String>) {
        match value {
            Value::Null => found.push(at.to_owned()),
            Value::Array(items) => items.iter().for_each(|item| nulls(item, at, found)),
            Value::Object(map) => map
                .iter()
                .for_each(|(name, item)| nulls(item, &format!("{at}/{name}"), found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    nulls(&document(), "", &mut found);
    // Among the values that a field may have, null is one.
    found.retain(|at| !at.ends_with("/enum"));
    assert_eq!(found, Vec::<String>::new());
}
