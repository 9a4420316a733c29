//! Content of all tables of a test's database.

use std::collections::BTreeMap;

use ringfence_vapi::OrgId;

use super::database::TestDatabase;

impl TestDatabase {
    /// Every table with a column `org_id`. The catalog provides the list, so a new table is included.
    pub async fn org_tables(&self) -> Vec<String> {
        const QUERY: &str = "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attname = 'org_id'
            ORDER BY 1";
        self.superuser().await.query(QUERY, &[]).await.expect("the tables").iter().map(|row| row.get(0)).collect()
    }

    /// All rows of an org as JSON by table, including surrogate ids and times. Equal results before and after mean that
    /// no row changed. Tables without rows of the org are omitted.
    pub async fn everything_of(&self, org: OrgId) -> BTreeMap<String, String> {
        let client = self.superuser().await;
        let mut everything = BTreeMap::new();
        for table in self.org_tables().await {
            let query = format!(
                "SELECT jsonb_pretty(jsonb_agg(to_jsonb(t) ORDER BY to_jsonb(t))) FROM {table} t WHERE org_id = $1"
            );
            let rows: Option<String> = client.query_one(&query, &[org.as_uuid()]).await.expect("the rows").get(0);
            everything.extend(rows.map(|rows| (table, rows)));
        }
        everything
    }
}
