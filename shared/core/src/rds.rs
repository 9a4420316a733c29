//! The public root certificates of Amazon RDS, for databases whose server certificate has the default CA of RDS.

/// Roots by region. Each region has three roots; the roots of Amazon Trust Services apply to RDS Proxy in every region.
const ROOTS: &str = include_str!("rds_roots.pem");

/// The roots of a region (PEM). None: a region without known roots.
#[must_use]
pub fn roots(region: &str) -> Option<String> {
    let section = |name| ROOTS.split("\n## ").find_map(|section| section.strip_prefix(name)?.strip_prefix('\n'));
    Some(format!("{}\n{}", section(region)?, section("*")?))
}

#[cfg(test)]
mod tests {
    use native_tls::Certificate;

    use super::*;

    fn regions() -> impl Iterator<Item = &'static str> {
        ROOTS.lines().filter_map(|line| line.strip_prefix("## ")).filter(|name| *name != "*")
    }

    /// E12
    #[test]
    fn each_region_has_its_three_roots_and_those_of_rds_proxy() {
        for region in regions() {
            let roots = roots(region).unwrap();
            assert_eq!(Certificate::stack_from_pem(roots.as_bytes()).unwrap().len(), 3 + 5, "{region}");
            for algorithm in ["RSA2048", "RSA4096", "ECC384"] {
                assert!(roots.contains(&format!("# Amazon RDS {region} Root CA {algorithm} G1, until ")), "{region}");
            }
        }
        assert!(regions().count() >= 27);
    }

    #[test]
    fn a_region_without_known_roots_has_none() {
        for region in ["", "us-east", "us-east-11", "cn-north-1", "local"] {
            assert_eq!(roots(region), None, "{region}");
        }
    }
}
