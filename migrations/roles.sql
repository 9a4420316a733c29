-- Roles and their settings. The owner of the database runs this file before the dated migrations, every time. It only
-- adds what is missing, so a second run changes nothing. It drops no role, because roles belong to the whole cluster.
--
-- ringfence_owner   owns all objects and runs the migrations. No Lambda function logs in as this role.
-- ringfence_app     is the login of the Lambda functions. Row-level security limits each transaction to one org.
-- ringfence_router  owns the SECURITY DEFINER functions that find the org of an event from the platform URL. No login.
-- ringfence_ops     runs administration and maintenance. SET ROLE reaches it, and a policy gives it access to all orgs.

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

    -- The migrating role sets role ringfence_owner, which transfers functions to ringfence_router and ringfence_ops. A
    -- superuser needs no membership. The creator of a role needs the GRANT too: since PostgreSQL 16 its membership
    -- excludes SET ROLE.
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
    -- A second GRANT would fail: PostgreSQL selects ringfence_owner, of which the migrating role is a member, as the
    -- grantor, and a role cannot grant options to itself.
    IF NOT has_schema_privilege('ringfence_owner', 'public', 'CREATE WITH GRANT OPTION') THEN
        GRANT USAGE, CREATE ON SCHEMA public TO ringfence_owner WITH GRANT OPTION;
    END IF;
END
$$;

-- An event whose statement exceeds these timeouts is spilled to SQS.
ALTER ROLE ringfence_app SET statement_timeout = '5s';
ALTER ROLE ringfence_app SET lock_timeout = '3s';
ALTER ROLE ringfence_app SET idle_in_transaction_session_timeout = '10s';
-- The statements inside the functions look up one call by its key, so a generic plan is as good as a custom plan. With
-- the default setting the server plans many of them at each execution, which takes a third of a webhook's time
-- (docs/PERFORMANCE.md).
ALTER ROLE ringfence_app SET plan_cache_mode = 'force_generic_plan';
-- JIT compilation takes longer than the execution of any of these statements.
ALTER ROLE ringfence_app SET jit = off;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO ringfence_app, ringfence_router, ringfence_ops;

-- PostgreSQL lets every role create temporary tables and large objects. Both would be a place for data outside tenant isolation.
DO $$
BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    -- Only a superuser can revoke this. A managed server has none (docs/SECURITY.md, limitations).
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) FROM PUBLIC;
    END IF;
END
$$;
