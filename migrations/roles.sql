-- Roles and their settings. Run before the dated migrations, every time, by the role that owns the database: it only
-- adds what is missing, so that running it again changes nothing. Roles belong to the whole cluster, hence no DROP here.
--
-- ringfence_owner   owns every object and migrates; no function of the system connects as it
-- ringfence_app     the functions: one org per transaction, row-level security forced
-- ringfence_router  owns the narrow SECURITY DEFINER functions that find the org of a platform event; nobody logs in as it
-- ringfence_ops     administration and maintenance, reached by SET ROLE; sees all orgs by a policy of its own

DO $$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY ARRAY['ringfence_owner', 'ringfence_router', 'ringfence_ops'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = v_role) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', v_role);
        END IF;
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ringfence_app') THEN
        CREATE ROLE ringfence_app LOGIN;
    END IF;

    -- The migrating role acts as the owner, and the owner hands functions over to the router. A superuser needs no membership.
    -- Granted also where the role was made by this one: since PostgreSQL 16 that membership does not include SET ROLE.
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        FOREACH v_role IN ARRAY ARRAY['ringfence_owner', 'ringfence_router', 'ringfence_ops'] LOOP
            EXECUTE format('GRANT %I TO %I', v_role, current_user);
        END LOOP;
    END IF;
    IF NOT pg_has_role('ringfence_owner', 'ringfence_router', 'MEMBER') THEN
        GRANT ringfence_router TO ringfence_owner;
    END IF;
    IF NOT pg_has_role('ringfence_owner', 'ringfence_ops', 'MEMBER') THEN
        GRANT ringfence_ops TO ringfence_owner;
    END IF;
    -- Not again: PostgreSQL would take ringfence_owner, of which the migrating role is a member, for who grants this, to itself.
    IF NOT has_schema_privilege('ringfence_owner', 'public', 'CREATE WITH GRANT OPTION') THEN
        GRANT USAGE, CREATE ON SCHEMA public TO ringfence_owner WITH GRANT OPTION;
    END IF;
END
$$;

-- A webhook that waits longer than this is better off in its retry queue.
ALTER ROLE ringfence_app SET statement_timeout = '5s';
ALTER ROLE ringfence_app SET lock_timeout = '3s';
ALTER ROLE ringfence_app SET idle_in_transaction_session_timeout = '10s';
-- The statements inside the functions look up one call by its key, so a plan that knows the values is no better than one that does
-- not; left to choose, the server plans many of them anew each time, a third of a webhook's time (docs/PERFORMANCE.md).
ALTER ROLE ringfence_app SET plan_cache_mode = 'force_generic_plan';
-- Compiling a statement takes longer than any of these runs.
ALTER ROLE ringfence_app SET jit = off;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO ringfence_app, ringfence_router, ringfence_ops;
