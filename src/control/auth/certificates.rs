//! Certificates of clients: which names have which role.

use std::collections::HashMap;
use std::sync::Arc;

use super::usage::Usage;
use super::{Denied, Identity};
use crate::config;
use crate::control::refusal::FORBIDDEN;
use crate::control::tally::RequestRefusal;

/// The roles by name. TLS has verified the certificate that a name stands in.
pub struct Certificates {
    /// The highest role first.
    roles: Vec<(Arc<str>, super::Role, Arc<Usage>)>,
}

impl Certificates {
    /// None where no certificates are asked for.
    pub fn new(tls: &config::Tls, usages: &HashMap<Arc<str>, Arc<Usage>>) -> Certificates {
        let roles = tls.client_roles.iter().filter(|_| tls.client_ca_file.is_some());
        let mut roles: Vec<_> = roles
            .filter_map(|(name, role)| {
                let name: Arc<str> = name.as_str().into();
                let usage = usages.get(&name).cloned().unwrap_or_default();
                Some((name, super::Role::named(role)?, usage))
            })
            .collect();
        roles.sort_by_key(|(_, role, _)| std::cmp::Reverse(*role));
        Certificates { roles }
    }

    pub fn is_empty(&self) -> bool {
        self.roles.is_empty()
    }

    /// Of the names of a certificate the one with the highest role.
    pub fn name_among(&self, names: Option<&[String]>) -> Option<Arc<str>> {
        let names = names?;
        self.roles
            .iter()
            .find(|(known, ..)| names.iter().any(|name| **name == **known))
            .map(|(name, ..)| Arc::clone(name))
    }

    pub fn identity(&self, name: &str) -> Result<Identity, Denied> {
        let found = self.roles.iter().find(|(known, ..)| **known == *name);
        found
            .map(|(name, role, _)| Identity {
                key: name.to_string(),
                role: *role,
            })
            .ok_or_else(unlisted)
    }

    pub fn usage(&self, name: &str) -> Option<Arc<Usage>> {
        let found = self.roles.iter().find(|(known, ..)| **known == *name);
        found.map(|(.., usage)| Arc::clone(usage))
    }

    pub fn usages(&self) -> impl Iterator<Item = (Arc<str>, Arc<Usage>)> {
        self.roles
            .iter()
            .map(|(name, _, usage)| (Arc::clone(name), Arc::clone(usage)))
    }
}

/// A certificate that is trusted and has no role.
pub fn unlisted() -> Denied {
    Denied::new(
        RequestRefusal::Certificate,
        FORBIDDEN,
        "No name of this certificate has a role.",
    )
}
