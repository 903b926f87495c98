use super::*;

#[test]
fn every_operation_has_one_name_and_one_route_and_is_found_by_both() {
    for (index, described) in OPERATIONS.iter().enumerate() {
        assert_eq!(described.operation as usize, index);
        assert_eq!(Operation::named(described.name), Some(described.operation));
        assert_eq!(
            Operation::at(described.verb(), described.path()),
            Some(described.operation)
        );
        assert!(["GET", "POST", "PATCH", "PUT", "DELETE"].contains(&described.verb()));
    }
    assert_eq!(Operation::named("Hum"), None);
    assert_eq!(Operation::at("PUT", "/v1/legs"), None);
    assert_eq!(Operation::at("HEAD", "/v1/legs"), Some(Operation::ListLegs));
}

#[test]
fn the_platforms_routes_alone_are_found_below_its_own_path_too() {
    assert_eq!(
        Operation::at("DELETE", "/calling/v1/conferences/id/{conferenceId}"),
        Some(Operation::EndConference)
    );
    assert_eq!(
        Operation::at("GET", "/calling/v1/conferences"),
        Some(Operation::ListConferences)
    );
    assert_eq!(Operation::at("POST", "/calling/v1/legs"), None);
    let of_platform = OPERATIONS.iter().filter(|described| described.is_platforms());
    assert_eq!(of_platform.count(), 9);
}

#[test]
fn what_changes_something_takes_more_than_the_role_of_a_reader() {
    for described in OPERATIONS {
        match described.changes() {
            true => assert!(described.role > Some(Role::Read), "{}", described.name),
            false => assert!(described.role <= Some(Role::Read), "{}", described.name),
        }
    }
}

#[test]
fn ids_stand_in_braces_in_the_path() {
    let described = Operation::KickParticipant.described();
    assert_eq!(described.ids().collect::<Vec<_>>(), ["conferenceId", "callId"]);
    assert_eq!(described.refusals(), [400, 401, 403, 404, 408, 413, 429, 503]);
}
