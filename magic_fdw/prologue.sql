/* magic_fdw--1.0.0.sql: joined from the parts beside each subsystem's code. */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION magic_fdw" to load this file. \quit

